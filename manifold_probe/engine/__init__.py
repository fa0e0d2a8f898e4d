"""Rows are read here, in blocks, into summaries that merge; everything measured is a function of these.

A report reads each file at most three times:

sample       up to 20,000 seeded rows: scale, centre, shift and principal directions of a space (cloud.py)
first pass   norms, hashes and column ranges (profile.py), grouped moments (sums.py), the best candidates of every
             query in both metrics (neighbours.py)
second pass  where each space's neighbours stand in the other (ranks.py), and the pair without what an alarm names

Blocks of 8,192 rows lie on a fixed grid, floating-point sums merge along a fixed binary tree over it, and candidates
merge under a total order (score, row). So the result is the same bits however the blocks were shared out: among
threads, Dask workers or the machines that wrote partial files (passes.py).

Only where more rows tie for a neighbour's place than a list holds, these queries are compared with every row once more.
"""
