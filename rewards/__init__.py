"""Graders and rewards: pure functions of a completion and an example. No Ray, no torch.

problem.py   Problem: what decides whether an answer is right
dispatch.py  the one place that picks a grader: problem and completion in, Verdict out
math/        is this answer the gold answer?    extract -> normalize -> (processes) compare, Math-Verify
code/        does this program pass its tests?  sandbox.py outside, inside/ inside
format.py    one thinking block, then an answer
length.py    soft overlong penalty, in tokens
user.py      a user's own reward, "package.module:function"
sandbox/     killable processes (forkserver.py forks them)
jsonl_server.py  JSON lines in, JSON lines out
verdict.py   Verdict, Reward, and the closed set of reasons
"""
