"""What libraries print goes to the log, what we say to the person, and errors to the person too."""

import pytest

from tests.console.scripts import finished, start

pytestmark = pytest.mark.integration


def test_what_libraries_print_goes_to_the_log(tmp_path) -> None:
    process = start(
        tmp_path,
        """
        warnings.warn("a library's warning")
        os.system("echo a child before")
        output.log_to(HERE / "logs")
        print("printed")
        os.write(2, b"by C\\n")
        os.system("echo a child after")
        echo("ours")
        """,
    )
    assert finished(process) == (0, "ours\n", "")
    log = (tmp_path / "logs" / "driver.log").read_text()
    for text in ("a library's warning", "a child before", "printed", "by C", "a child after"):
        assert text in log
    assert "ours" not in log


def test_wrong_input_is_one_line_and_leaves_no_log(tmp_path) -> None:
    status, out, err = finished(start(tmp_path, "print('noise'); raise UserError('no such\\n thing')"))
    assert (status, out, err) == (2, "", "error: no such thing\n")
    assert not (tmp_path / "logs").exists()


def test_a_run_that_fails_names_the_log_of_the_worker(tmp_path) -> None:
    process = start(
        tmp_path,
        """
        output.log_to(HERE / "logs")
        (HERE / "logs" / "rollout-1.log").write_text("Segmentation fault")
        (HERE / "logs" / "rollout-0.log").write_text("all is well")
        raise RunError("rollout-1 died")
        """,
    )
    status, _, err = finished(process)
    assert status == 1
    assert err == f"run failed: rollout-1 died (log: {tmp_path / 'logs' / 'rollout-1.log'})\n"


def test_a_defect_shows_its_traceback(tmp_path) -> None:
    status, _, err = finished(start(tmp_path, "output.log_to(HERE / 'logs'); print('no' + 'ise'); [][0]"))
    assert status == 1
    assert "Traceback" in err and "IndexError" in err and "noise" not in err


def test_a_worker_keeps_its_own_log(tmp_path) -> None:
    process = start(
        tmp_path,
        """
        os.environ[output.FOLDER] = str(HERE / "logs")
        output.keep_log("rollout-0")
        os.system("echo nowhere")
        (HERE / "logs").mkdir()
        output.keep_log("rollout-0")
        os.system("echo here")
        """,
    )
    assert finished(process)[0] == 0
    assert (tmp_path / "logs" / "rollout-0.log").read_text() == "here\n"


def test_a_command_within_another_has_its_own_log(tmp_path) -> None:
    process = start(
        tmp_path,
        """
        output.log_to(HERE / "outer")
        def inner():
            output.log_to(HERE / "inner")
            print("inside")
        inner.__module__ = "srm_ray.sft"
        command(inner)()
        print("outside")
        """,
    )
    assert finished(process)[0] == 0
    assert (tmp_path / "inner" / "driver.log").read_text() == "inside\n"
    assert (tmp_path / "outer" / "driver.log").read_text() == "outside\n"
