"""What drives the compiled core: weights packed, batches put in order, passes run."""
