"""Results as tables: tidy for machines, and as a paper prints them."""
