"""Extraction of features from models and data to disk: cached, resumable, and verified with checksums."""
