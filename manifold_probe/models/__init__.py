"""Models: from one string to a torch module, its preprocessing, its layers and its pooled output."""
