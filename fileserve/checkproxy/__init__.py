"""``fileserve check-proxy``: does what stands in front of a running site pass on what it should?

``client`` asks, within the bounds of ``bounded``; ``observing`` notes what came, of a ``site`` whose ``documents`` it
doubts, and ``judging`` says what is wrong with it. ``checks`` is the table of all questions, ``running`` goes through
it, ``reasons`` say why one could not be asked, ``report`` tells. A client from outside, it knows of the site what any
client may know, and nothing of the packages that make the site.
"""
