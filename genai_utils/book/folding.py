"""What the build hides and folds on a notebook's page."""


def setup(app):
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
