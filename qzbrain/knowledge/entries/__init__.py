"""Curated knowledge: questions with their answers, and texts, that people put in, approve, correct and carry."""
