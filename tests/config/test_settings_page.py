"""The page of settings is current and complete."""

from docs import settings_page
from speedyzero.config.documents import presets
from speedyzero.config.settings import SETTINGS


def test_the_page_is_as_the_sources_are():
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "python -m docs.settings_page"


def test_every_setting_has_a_meaning():
    meanings = settings_page._meanings()
    assert [path for path in SETTINGS if not meanings.get(path)] == []


def test_every_preset_has_a_letter():
    assert set(settings_page.PRESETS.values()) == set(presets())
