"""Blocks as text of a terminal, as HTML and as Markdown."""
