from .conftest import again

globals().update(again("middleware"))
