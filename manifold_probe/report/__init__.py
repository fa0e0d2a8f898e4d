"""Showing results: every module here is made of functions of the plain JSON document of a comparison."""
