"""`make fuzz`: every parser, fed with what nobody should send; CONTRIBUTING.md says how.

base        what a target is, and what targets share
corpus      where inputs begin: the golden cases, and words by hand
mutate      what is done to them
frames      the same for HTTP/2
http1 http2 splitters values dialects     the targets, each with what has to hold whatever it is fed
targets     the list of them
engine      one target, input after input
fleet       many of those at once, in processes that may die
"""
