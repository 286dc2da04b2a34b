"""What a notebook shows: each output is self-contained and says in text what is seen.

output         one output: HTML with its style and script, a picture, plain text
figures        figures, grids of images, tables; plots, two of them ready-made
drawing        drawings of one idea each (drawings/), as SVG that follows the theme
explorer       a frame for every setting; zoom_map, a map to drag and zoom
latent_pad     a decoder that runs in the page (page_decoder)
typewriter     a GPT that runs in the page (page_gpt); tokens, shaded by their probability
labs           a live widget, or a still of it
source         the real source of the package
pictures       pixels: small files that look sharp
"""
