"""The two forms of a file of arrays, .npz and .safetensors: readers that believe nothing."""
