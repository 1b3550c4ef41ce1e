"""Where images come from: source -> views -> batches."""
