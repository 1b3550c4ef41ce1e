"""The Vision Transformer, one file per station of the paper's Figure 1."""
