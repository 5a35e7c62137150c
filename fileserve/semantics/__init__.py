"""What to answer: the text of the RFCs as pure functions from values to values.

No I/O, no clock, no randomness, no framework: the instant, the multipart boundary and the media type are arguments.
Read from the top; no module imports one that stands below it.

==================  =============================================================  =========================
module              what it knows                                                  source
==================  =============================================================  =========================
``fields``          raw header fields → one value for each name                    RFC 9110 §5
``validators``      entity tags; HTTP dates                                        RFC 9110 §8.8, §5.6.7
``representation``  the selected representation, as far as HTTP sees it            RFC 9110 §3.2, §8.8.2.1
``conditional``     preconditions in their order; If-Range                         RFC 9110 §13
``ranges``          Range → spans; Content-Range                                   RFC 9110 §14.1, §14.2, §14.4
``byteranges``      the framing of multipart/byteranges                            RFC 9110 §14.6, RFC 2046 §5.1
``disposition``     Content-Disposition                                            RFC 6266, RFC 8187
``digest``          digests in fields and as lines of ``sha256sum``                RFC 9530, RFC 3230
``metalink``        a file's size, digests and address as a Metalink               RFC 5854
``plan``            all of it together: method + fields + representation → plan    RFC 9110 §15.3, §15.4.5, §15.5
``offload``         which plans a proxy would answer alike that sends the file itself
``coverage``        which bytes a client has, of all responses that it got         RFC 9110 §15.3.7
``tus``             the fields of resumable uploads                                tus 1.0.0
==================  =============================================================  =========================

Fields are ``Mapping[str, str]`` with lower-case names, as ``fields.combine_fields`` makes them. Choices that a standard
leaves open are marked ``Policy:`` where they are made.
"""
