"""The reasons that snakemake prints for the steps that it runs."""

from kd_trainer.study.reasons import shortened


def test_of_two_commands_only_the_difference_is_said():
    said = "Params have changed: Union of exclusive params before and now across all output: before: {} now: {} "
    before, now = "'A=1 run -o kd_alpha 0.5'", "\"A=1 run -o kd_alpha 0.9 -o kd_loss 'dkd'\""
    expected = "Params have changed: was kd_alpha 0.5; is kd_alpha 0.9 -o kd_loss kd_loss 'dkd"
    assert shortened(said.format(before, now)).strip() == expected
    assert (
        shortened(said.format("'A=1 run --x 1'", "'A=1 run'")).strip()
        == "Params have changed: was run --x --x 1; is nothing more"
    )


def test_a_long_list_of_files_is_cut():
    assert shortened("Missing output files: a") == "Missing output files: a"
    assert len(shortened("Input files updated: " + "jets.parquet, " * 100)) < 210
