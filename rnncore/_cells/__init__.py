"""What a cell is, wherever it is computed: its activations, its traces and its results."""
