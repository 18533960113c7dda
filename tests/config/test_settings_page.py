"""The page of settings is what the sources say, and says something of each."""

from docs import settings_page
from speedyzero.config.settings import SETTINGS


def test_the_page_is_as_the_sources_are():
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "python -m docs.settings_page"


def test_every_setting_has_a_meaning():
    meanings = settings_page._meanings()
    assert [path for path in SETTINGS if not meanings.get(path)] == []
