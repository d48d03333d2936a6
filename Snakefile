# The paper as a graph: cohorts, eight notebooks in order, their numbers, the book.
# What each step needs and makes stands in src/helpers/pipeline.py; the stamps passed as
# params (notebook, parameters, helper modules, data, lock) decide what is stale.
import sys

from helpers import book, parameters, paths, pipeline

SOURCE = config.get("profile", "demo")
PROFILE = parameters.load(SOURCE)
RESULTS = paths.results(PROFILE.name).as_posix()
HELPERS = f"{sys.executable} -m helpers"
EXECUTED = [f"{RESULTS}/executed/{step.name}.ipynb" for step in pipeline.STEPS]
# Snakemake removes a step's outputs before it runs. The book is swapped in whole when it is
# fit to read, so its output is a mark beside it, and an older book outlives a failed build.
BUILT = book.built_mark(PROFILE.name).as_posix()


rule all:
    # Every file is asked for, not the page alone: a failed step leaves its own files missing
    # beside the page of an earlier run, and Snakemake would call that page up to date.
    input:
        [f"{RESULTS}/cohort/{part}/cohort.json" for part in pipeline.COHORTS],
        [f"{RESULTS}/{file}" for step in pipeline.STEPS for file in step.outputs],
        f"{RESULTS}/numbers.json",
        BUILT,


for part in pipeline.COHORTS:

    rule:
        name:
            f"cohort_{part}"
        output:
            f"{RESULTS}/cohort/{part}/cohort.json",
        params:
            *pipeline.stamps_of_cohort(PROFILE, part),
            part=part,
        threads: 2
        shell:
            "{HELPERS} cohort {params.part} --profile {SOURCE:q}"


for step in pipeline.STEPS:

    rule:
        name:
            f"notebook_{step.name}"
        input:
            [f"{RESULTS}/{file}" for file in pipeline.inputs_of(step)],
        output:
            [f"{RESULTS}/{file}" for file in step.outputs],
        params:
            *pipeline.stamps_of_notebook(PROFILE, step.name),
            name=step.name,
        threads: step.threads
        shell:
            "{HELPERS} execute {params.name} --profile {SOURCE:q}"


rule numbers:
    input:
        [f"{RESULTS}/numbers/{step.name}.json" for step in pipeline.STEPS],
    output:
        f"{RESULTS}/numbers.json",
    shell:
        "{HELPERS} merge --profile {SOURCE:q}"


rule book:
    input:
        EXECUTED,
        f"{RESULTS}/numbers.json",
    output:
        BUILT,
    params:
        *pipeline.stamps_of_book(),
    threads: 2
    shell:
        "{HELPERS} book --profile {SOURCE:q}"
