"""A diagnosis as a document, in words, on a page, and as files."""
