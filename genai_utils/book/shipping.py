"""What a visit costs: icons and search."""


def setup(app):
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
