"""Whole models: layers around the recurrent ones, and what puts them together."""
