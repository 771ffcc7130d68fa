"""What ``padecast measure`` does: one pipeline, measured within a time, for a page and a file to share.

``families`` says how a pipeline is called, ``pieces`` what is measured and what it costs, ``ladder`` how like real
models it is, ``state`` what an interrupted measurement goes on from, and ``sharing`` what of it is fit to be shown to
others; ``page`` draws it.
"""
