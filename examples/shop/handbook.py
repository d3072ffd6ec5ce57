"""The shop's handbook: what the support desk may look up. Real sentences, so that a search has something to find."""

from __future__ import annotations

from typing import Final, NamedTuple


class Article(NamedTuple):
    title: str
    text: str


ARTICLES: Final = (
    Article(
        "Returning an order",
        "An order can be returned within 30 days of delivery. Goods must be complete; opened packaging is fine. "
        "The customer prints the label that we mail, sticks it on the parcel and leaves it at any parcel shop. "
        "Return postage is free above a value of 40.",
    ),
    Article(
        "When a refund arrives",
        "A refund goes to the means of payment that was used. It leaves us on the working day after the parcel was "
        "scanned in our warehouse. Cards show it after three to five working days, bank transfers after two.",
    ),
    Article(
        "Parcels that are late",
        "A parcel counts as late three working days after the promised date. Before that, ask for patience and give "
        "the tracking number. After that, open a search with the carrier; it takes up to eight working days. "
        "A parcel that is not found is sent again or refunded, as the customer prefers.",
    ),
    Article(
        "Damaged on arrival",
        "Ask for a photograph of the damage and of the parcel's outside. Damage reported within seven days of delivery "
        "is always ours: send a replacement at once and do not ask for the broken piece back unless it costs more "
        "than 100.",
    ),
    Article(
        "Changing the delivery address",
        "An address can be changed while the order is being packed. Once it is shipped, only the carrier can redirect "
        "it, which the customer does with the tracking number on the carrier's page.",
    ),
    Article(
        "Cancelling an order",
        "Orders that are still being packed are cancelled at once and refunded the same day. Shipped orders cannot be "
        "cancelled; the customer refuses the parcel or returns it later.",
    ),
    Article(
        "Warranty on appliances",
        "Kettles, toasters, grinders and other appliances have a warranty of two years from delivery. The serial "
        "number is on the underside. Limescale and dropped devices are not covered. Repair takes ten working days.",
    ),
    Article(
        "Descaling a kettle",
        "Fill the kettle to half with equal parts of water and vinegar, boil, wait for twenty minutes, rinse twice. "
        "Monthly in hard water areas. A kettle that clicks off early usually wants descaling and no repair.",
    ),
    Article(
        "Sizes of textiles",
        "Towels are measured before the first wash and shrink by up to four per cent. Aprons come in one size with "
        "straps to adjust. Exchanging a colour is a return and a second order.",
    ),
    Article(
        "Invoices and tax",
        "The invoice is mailed on the day of shipping and can be had again for ten years. A company's tax number can "
        "be added within 14 days; afterwards the accounts team issues a correction.",
    ),
    Article(
        "Gift cards",
        "Gift cards are valid for four years. They pay for goods and postage, not for other gift cards. What is left "
        "stays on the card. A lost card is replaced against the order number of its purchase.",
    ),
    Article(
        "Payment that was declined",
        "We try a declined card once more after an hour and then hold the order for five days. The customer can choose "
        "another means of payment from the link in the mail. Nothing is charged twice.",
    ),
    Article(
        "Missing pieces",
        "Large orders leave in several parcels; the tracking page lists each. When all have arrived and a piece is "
        "still missing, send it again from stock, or refund it when it is sold out.",
    ),
    Article(
        "Coffee grinders: grain",
        "The ring on the neck sets the grain from 1, fine as flour, to 24, for a press. Turn it only while the grinder "
        "runs. A grinder that hums and does not turn is blocked: unplug it and empty the chamber.",
    ),
    Article(
        "Tone of an answer",
        "Say first what will happen, then why. Name dates and amounts. Apologise once when we are at fault, and never "
        "for the carrier in place of acting. Sign with a first name.",
    ),
)
