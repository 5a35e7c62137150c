"""``fileserve check-proxy``: does what stands in front of a running site pass on what it should?

``client`` asks, within the bounds of ``bounded``; ``observing`` notes what came, of a ``site`` whose ``documents`` it
doubts; ``checks`` is the table that judges it, ``report`` tells. A client from
outside, it knows of the site what any client may know, and nothing of the packages that make the site.
"""
