"""Files of padecast in repositories of the Hugging Face Hub, through ``huggingface_hub``, imported when it is needed.

``address`` reads what users write; ``download`` fetches files and ``parcel`` sends them; ``failures`` says in words
what went wrong; ``card`` and ``picture`` make the page that a repository shows; ``shareable`` gives a class the
methods that users know from other libraries. Nothing is sent but what a :class:`Parcel` lists.
"""

from padecast.files.hub.address import Address, slug
from padecast.files.hub.card import Section
from padecast.files.hub.download import Source
from padecast.files.hub.failures import explain, is_silence
from padecast.files.hub.parcel import Parcel
from padecast.files.hub.shareable import Shareable, load_all, pack

__all__ = ["Address", "Parcel", "Section", "Shareable", "Source", "explain", "is_silence", "load_all", "pack", "slug"]
