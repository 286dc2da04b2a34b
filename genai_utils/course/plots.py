"""The plots that notebooks draw again and again; they stand in `genai_utils.display.plots`."""

from genai_utils.display.plots import class_scatter, line_plot

__all__ = ["class_scatter", "line_plot"]
