"""What a trained model is worth on other images: its frozen features, measured."""
