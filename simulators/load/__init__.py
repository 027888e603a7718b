"""Readings at a stated rate, as cheaply as Python can."""
