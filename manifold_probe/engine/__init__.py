"""The engine reads rows in blocks into summaries that merge; every measure is a function of these summaries.

A report reads a file at most three times:

sample       up to 20,000 seeded rows: scale, centre, shift and principal directions of a space (cloud.py)
first pass   norms, hashes and column ranges (profile.py), grouped moments (sums.py), the best candidates of every
             query in both metrics (neighbours.py)
second pass  ranks of a space's neighbours in the other space (ranks.py), and the pair without the rows or columns of an
             alarm

Blocks of 8,192 rows are on a fixed grid, floating-point sums merge along a fixed binary tree over it, and candidates
merge under a total order (score, row). So the result has the same bits however the blocks are distributed: to threads,
Dask workers or the machines that write partial files (passes.py).

Only if more rows tie for the k-th place than a list holds, the query is compared with every row again.
"""
