"""From models and data to features on disk: once, resumable, and proven to be what they say."""
