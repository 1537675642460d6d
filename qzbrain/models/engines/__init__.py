"""Local engines: their command lines, their needs, their processes. The brain imports none of them and speaks the OpenAI protocol only."""
