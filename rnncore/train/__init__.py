"""What a training needs besides layers: heads, losses, clipping and optimisers."""
