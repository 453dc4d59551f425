# %% [markdown]
# # Mechanisms switched off
#
# `results/ablations`: one campaign of runs under faults for each safety mechanism of each engine and
# each group of faults, with the mechanism off. A row says how many seeds were tried and, if a check
# noticed, which and at which seed. Seeds go up to 500 under all faults and to 60 in each group.

# %%
import polars as pl
from committed import ROOT, agree, experiment, read

table = read("ablations").with_columns(found=pl.col("found_at_seed").is_not_null())
asked = experiment("ablations")

# %% [markdown]
# The matrix of the figure: the first seed at which a check notices; a dot where none did.

# %%
groups = ["all faults"] + [group["title"] for group in asked["groups"]]
cell = pl.col("found_at_seed").cast(pl.String).fill_null(".")
matrix = table.with_columns(cell.alias("cell")).pivot(
    "faults", index=["engine", "mechanism"], values="cell"
)
assert set(matrix.columns[2:]) <= set(groups), matrix.columns
matrix.select("engine", "mechanism", *[group for group in groups if group in matrix.columns]).fill_null("")

# %% [markdown]
# Which checks notice, by engine, and how many mechanisms they notice under all faults.

# %%
everything = table.filter(pl.col("faults") == "all faults")
by_engine = everything.group_by("engine", maintain_order=True).agg(
    mechanisms=pl.len(),
    found=pl.col("found").sum(),
    median_seed=pl.col("found_at_seed").median(),
    checks=pl.col("check").drop_nulls().unique(maintain_order=True).str.join(", "),
)
by_engine

# %% [markdown]
# Consistency: a campaign that found something stopped at that seed, one that found nothing tried all;
# shrinking never adds faults; and each mechanism that was found under all faults has its smallest plan
# in a file, with the digest of the row.

# %%
found = table.filter("found")
agree("ablations, seeds of campaigns that found", found["seeds"], found["found_at_seed"])
last = int(asked["seeds"].split("..")[1])
nothing = table.filter(~pl.col("found")).with_columns(
    asked=pl.when(pl.col("faults") == "all faults").then(last).otherwise(asked["seeds_by_group"])
)
agree("ablations, seeds of campaigns that found nothing", nothing["seeds"], nothing["asked"])
assert (found["faults_left"] <= found["faults_before"]).all()

plans = sorted((ROOT / "results" / "ablations").glob("plan-*.toml"))
texts = [plan.read_text() for plan in plans]
digests = everything.filter("found")["digest"].to_list()
missing = [digest for digest in digests if not any(digest in text for text in texts)]
assert not missing, missing
agree("ablations, plans of mechanisms that were found", [len(plans)], [len(digests)])
