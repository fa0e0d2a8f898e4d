"""Models: a torch module from one string, with its preprocessing, layers and pooled output."""
