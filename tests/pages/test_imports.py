"""The import form: on a machine's page, on its own, and with what was wrong."""

import errno
import io
from pathlib import Path
from typing import IO

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.pages import story
from tests.sessions.export_files import MONDAY_MS, Laptop
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.jobs.models import Job
from webapp.features.sessions import inbox

URL = f"/devices/{story.STUDIO.id}/import"


@pytest.fixture
def exported(hub: Account, tmp_path: Path) -> Path:
    """A file that says that it comes from the sample's studio."""
    laptop = Laptop(tmp_path / "laptop")
    laptop.pair(story.STUDIO.id, "a secret that is long enough, though it is not the one of the hub")
    laptop.work("part", MONDAY_MS)
    return laptop.write()


def send(browser: FlaskClient, content: bytes, name: str = "studio.muster", url: str = URL) -> tuple[int, str, str]:
    answer = browser.post(url, data={"file": (io.BytesIO(content), name)}, content_type="multipart/form-data")
    return answer.status_code, answer.text, answer.location or ""


def test_the_machines_page_has_the_form(browser: FlaskClient) -> None:
    page = browser.get(f"/devices/{story.STUDIO.id}").text
    assert f'action="{URL}"' in page
    assert 'enctype="multipart/form-data"' in page
    assert f'href="{URL}"' in page


def test_its_own_page_says_how_and_what_it_does(browser: FlaskClient) -> None:
    page = browser.get(URL).text
    for words in ("collector export sessions.muster", "inbox", "The same file twice changes nothing", "At most 9 MB"):
        assert words in page


def test_a_good_file_leads_to_its_job(browser: FlaskClient, exported: Path) -> None:
    status, _, location = send(browser, exported.read_bytes())
    assert status == 303
    db.session.rollback()
    job = db.session.scalars(select(Job).where(Job.type == "sessions.import_file")).one()
    assert location == f"/jobs/{job.id}"
    assert inbox.taken_path(job.args["file"]).read_bytes() == exported.read_bytes()
    page = browser.get(location).text
    assert "Import studio.muster" in page


def test_what_is_wrong_stands_under_the_field(browser: FlaskClient, exported: Path) -> None:
    for content, name, words in (
        (b"a picture", "x.png", "not an export file"),
        (b"", "x.muster", "not an export file"),
        (b"anything", "", "Choose the file first"),
    ):
        status, page, _ = send(browser, content, name)
        assert status == 422
        assert words in page
        assert 'aria-invalid="true"' in page
    status, page, _ = send(browser, exported.read_bytes(), url=f"/devices/{story.THINKPAD.id}/import")
    assert (status, "another machine" in page) == (422, True)
    assert browser.post(URL).status_code == 422


def test_a_file_that_is_too_large_is_pointed_to_the_inbox(browser: FlaskClient) -> None:
    form = "multipart/form-data; boundary=x"
    answer = browser.post(URL, data=b"x" * (10 * 1024 * 1024), content_type=form)
    assert answer.status_code == 413
    assert "larger than the 9 MB" in answer.text
    assert "inbox" in answer.text
    unknown = browser.post("/devices/nobody/import", data=b"x" * (10 * 1024 * 1024), content_type=form)
    assert (unknown.status_code, "larger" in unknown.text) == (404, False)


def test_a_full_disk_is_said_under_the_field(
    browser: FlaskClient, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(_: IO[bytes]) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inbox, "keep", keep)
    status, page, _ = send(browser, exported.read_bytes())
    assert (status, "storage is full" in page) == (507, True)


def test_a_machine_that_is_not_paired_says_so(browser: FlaskClient, hub: Account, exported: Path) -> None:
    devices.unpair_device(hub.id, story.STUDIO.id)
    page = browser.get(URL).text
    assert "is not paired" in page
    assert 'type="file"' not in page
    assert send(browser, exported.read_bytes())[0] == 409


def test_a_stranger_finds_nothing(browser: FlaskClient) -> None:
    assert browser.get("/devices/nobody/import").status_code == 404
    assert send(browser, b"x", url="/devices/nobody/import")[0] == 404
