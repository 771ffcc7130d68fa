"""Worlds like real models."""
