"""The commands of `rnncore`, but for those that are folders of their own."""
