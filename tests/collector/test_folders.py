"""Which code folders are offered, and which project a file is in."""

from pathlib import Path

from collector.sources.folders import suggest_code_folders
from collector.timeline.projects import Projects


def repository(folder: Path, branch: str = "main") -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    return folder


def test_only_usual_folders_that_hold_repositories_are_offered(tmp_path: Path) -> None:
    repository(tmp_path / "code" / "shop")
    repository(tmp_path / "Documents" / "GitHub" / "group" / "app")
    repository(tmp_path / "Music" / "hidden")
    repository(tmp_path / "work" / "node_modules" / "x")
    (tmp_path / "src" / "nothing").mkdir(parents=True)
    (tmp_path / "dev").write_text("a file")
    assert suggest_code_folders(tmp_path) == [tmp_path / "code", tmp_path / "Documents" / "GitHub"]


def test_a_tree_is_offered_once(tmp_path: Path) -> None:
    repository(tmp_path / "code" / "shop")
    (tmp_path / "projects").symlink_to(tmp_path / "code")
    repository(tmp_path / "go" / "src" / "x")
    assert suggest_code_folders(tmp_path) == [tmp_path / "code", tmp_path / "go" / "src"]


def test_an_empty_home_has_nothing_to_offer(tmp_path: Path) -> None:
    assert suggest_code_folders(tmp_path) == []
    assert suggest_code_folders(tmp_path / "missing") == []


def test_the_nearest_repository_is_the_project(tmp_path: Path) -> None:
    repository(tmp_path / "outer")
    repository(tmp_path / "outer" / "inner", "feature/x")
    projects = Projects(home=str(tmp_path))
    assert projects.find(str(tmp_path / "outer" / "src" / "a.py")) == ("outer", str(tmp_path / "outer"), "main")
    assert projects.find(str(tmp_path / "outer" / "inner" / "b.py")) == (
        "inner",
        str(tmp_path / "outer" / "inner"),
        "feature/x",
    )


def test_a_linked_work_tree_is_a_project_with_a_branch_of_its_own(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    linked = main / ".git" / "worktrees" / "fix"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/fix\n")
    (tmp_path / "fix").mkdir()
    (tmp_path / "fix" / ".git").write_text(f"gitdir: {linked}\n")
    assert Projects().find(str(tmp_path / "fix" / "a.py")) == ("fix", str(tmp_path / "fix"), "fix")


def test_a_detached_head_has_no_branch(tmp_path: Path) -> None:
    repository(tmp_path / "shop")
    (tmp_path / "shop" / ".git" / "HEAD").write_text("0" * 40)
    assert Projects().find(str(tmp_path / "shop" / "a.py")) == ("shop", str(tmp_path / "shop"), None)


def test_a_marker_file_names_project_and_branch(tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop")
    (shop / ".wakatime-project").write_text("Corner Shop\nspring\n")
    assert Projects().find(str(shop / "src" / "a.py")) == ("Corner Shop", str(shop), "spring")
    (shop / ".wakatime-project").write_text("")
    assert Projects().find(str(shop / "a.py")) == ("shop", str(shop), None)


def test_without_a_repository_the_folder_below_the_root_is_the_project(tmp_path: Path) -> None:
    (tmp_path / "code" / "notes" / "deep").mkdir(parents=True)
    projects = Projects([str(tmp_path / "code")])
    notes = ("notes", str(tmp_path / "code" / "notes"), None)
    assert projects.find(str(tmp_path / "code" / "notes" / "deep" / "a.md")) == notes
    assert projects.find(str(tmp_path / "code" / "a.md")) == ("code", str(tmp_path / "code"), None)
    assert projects.find(str(tmp_path / "elsewhere" / "a.md")) is None
    assert projects.find("HIDDEN.py") is None


def test_a_home_folder_in_git_is_not_everybodys_project(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / "code" / "notes").mkdir(parents=True)
    projects = Projects([str(tmp_path / "code")], home=str(tmp_path))
    assert projects.find(str(tmp_path / "code" / "notes" / "a.md")) == ("notes", str(tmp_path / "code" / "notes"), None)
    assert projects.find(str(tmp_path / ".bashrc")) is None
