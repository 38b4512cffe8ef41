"""What a training needs besides layers: losses, clipping and optimisers."""
