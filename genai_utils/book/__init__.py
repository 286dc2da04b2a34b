"""From notebooks to pages, and what is done to notebooks as files. Knows no model.

execute, estimate   run notebooks and store outputs and run cards; estimate what they would train
running, client     a notebook in a kernel of its own
cards               what a training takes on the graphics cards that readers have
chapters            what the pages read from the notebooks and the lecture map
extension           the extension of Sphinx: directives, notebook_page, nodes
linking             the links that the build makes, with citations and terms
address             changes the repository's address everywhere
"""
