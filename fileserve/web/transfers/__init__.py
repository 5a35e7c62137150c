"""Who downloads what: what each response took, folded into logical transfers, and shown.

From the response to those who watch:

- ``live``, ``account``   one response under way, and how much of it is with its client
- ``pieces``      what one client has taken, in one response or in several
- ``progress``, ``counts``   the responses of one worker, and how they ended
- ``tracking``, ``topics``, ``rows``   what a worker tells the others, and hears from them; under which topics; as rows
- ``keeping``     the one worker that folds all pieces
- ``ledger``, ``logical``   the fold, and one logical transfer
- ``offloaded``, ``nginx_log``, ``unheard``   what nginx sends, how its log tells of that, and from when on to read it
- ``telling``, ``audience``, ``stream``   what is told of them, encoded once, as events
"""
