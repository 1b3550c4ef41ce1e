"""What frozen features of a model are worth: features of a split once, and readouts learned from them."""
