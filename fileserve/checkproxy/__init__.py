"""``fileserve check-proxy``: does what stands in front of a running site pass on what it should?

``client`` asks, ``observing`` notes what came, ``checks`` is the table that judges it, ``report`` tells. A client from
outside, it knows of the site what any client may know, and nothing of the packages that make the site.
"""
