"""The offline bundle: one tar with everything that a machine without a network needs, and what unpacks it there.

Two halves. The builder (`building` and what it uses) runs in a brain's environment. What runs on the other machine before anything is
installed there (`__main__`, `installing`, `switching`, `checking`, `ed25519`, `layout`, `machine`) uses the standard library and qzbrain.errors alone.
"""
