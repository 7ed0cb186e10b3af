import pytest

from tests.gguf.models import MAKERS


@pytest.fixture(scope="session", params=sorted(MAKERS))
def random_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A small random model's folder, once for each architecture."""
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "model")
