"""The documents the research task searches: the handbook of an island that does not exist, written for this demo.

Several documents speak of neighbouring things (two lighthouses, two ferries, three storms), so that a query has to be
apt and the passage has to be chosen.
"""

from __future__ import annotations

from agentrouter.demo.tools import Corpus, Document

_TEXTS: tuple[tuple[str, str], ...] = (
    (
        "Skarv lighthouse",
        "Skarv lighthouse stands on the northern cape of Varn. It was built in 1858 of grey granite. Its "
        "oil lamp was replaced by an electric one in 1931, when Ida Brekke was keeper.",
    ),
    (
        "Molen lighthouse",
        "Molen lighthouse marks the southern sandbank. It was built in 1903 as an iron frame on piles. "
        "Its lamp ran on acetylene gas until the light was automated in 1974.",
    ),
    (
        "Keepers of the lights",
        "The keepers lived at the foot of the tower with their families. Each watch lasted six hours. "
        "The last keeper of Varn left in 1979.",
    ),
    (
        "The fog signal",
        "The fog signal at the northern cape sounds two blasts every minute. It is driven by compressed "
        "air and can be heard eleven kilometres away.",
    ),
    (
        "Ferry to the mainland",
        "The ferry Havfrue sails from Varn harbour to Lund four times a day. The crossing takes 55 "
        "minutes. She carries 42 cars and 300 passengers.",
    ),
    (
        "Winter ferry",
        "From November to March the smaller ferry Alke takes over. She carries 14 cars and 120 "
        "passengers. In hard ice the crossing takes two hours.",
    ),
    (
        "Ferry fares",
        "A foot passenger pays 6 crowns, a car with its driver 31 crowns. Islanders travel at half fare. "
        "Bicycles are free.",
    ),
    (
        "The harbour",
        "Varn harbour was dredged to seven metres in 1962. The east quay is kept for fishing boats, the "
        "west quay for the ferry.",
    ),
    (
        "Harbour master",
        "The harbour master keeps the log of arrivals and settles quarrels over berths. The office on "
        "the west quay is open from six in the morning.",
    ),
    (
        "The great storm of 1894",
        "The storm of 1894 broke the sea wall and flooded the lower village. Nineteen houses were lost. "
        "The wall was rebuilt two metres higher.",
    ),
    (
        "The storm of 1921",
        "The storm of 1921 tore the roof from the school and sank five fishing boats in the harbour. Nobody drowned.",
    ),
    (
        "The storm of 1987",
        "The storm of 1987 cut the power cable to the mainland for eleven days. The dairy poured away "
        "9,000 litres of milk.",
    ),
    (
        "Power supply",
        "Varn gets its power through a sea cable laid in 1953. Since 2014 three wind turbines on the "
        "western ridge cover most of the need in winter.",
    ),
    (
        "Wind turbines",
        "The three turbines on the western ridge were paid for by the islanders themselves. Each gives "
        "up to 2.3 megawatts.",
    ),
    (
        "The school",
        "The island school has 61 pupils in four classes. Lessons in the two lower classes are given "
        "together. The school ship Terna is moored at the east quay.",
    ),
    (
        "The library",
        "The library holds 8,400 books in the old customs house. It lends fishing rods too. It was "
        "founded by the teacher Anna Holm in 1911.",
    ),
    (
        "The customs house",
        "The customs house of 1799 is the oldest stone building in the village. Smuggled tobacco was "
        "kept in its cellar until it could be burned.",
    ),
    (
        "The church",
        "The wooden church was moved from the mainland in 1742, plank by plank. A model of a ship hangs "
        "in its nave. The bell is older than the church.",
    ),
    (
        "The bell of Varn",
        "The bell was cast in Lund in 1661. It cracked in 1830 and was recast with silver coins given by "
        "the fishermen.",
    ),
    (
        "The doctor",
        "A doctor comes to the island on Tuesdays and Fridays. In an emergency the helicopter needs 14 "
        "minutes from the mainland.",
    ),
    (
        "The pharmacy",
        "The pharmacy shares a house with the post office. It keeps a store for thirty days, in case the "
        "ferry cannot sail.",
    ),
    (
        "Post office",
        "Mail leaves with the first ferry. The post office stamps letters with a picture of a cormorant.",
    ),
    (
        "The cormorants",
        "About 2,700 pairs of cormorants nest on the northern cliffs. The path along the edge is closed "
        "from April to July.",
    ),
    (
        "Seals",
        "Grey seals rest on the southern sandbank. Boats must keep 200 metres away. In 2022 wardens counted 340 seals.",
    ),
    (
        "Puffins",
        "Puffins came back to Varn in 2008 after rats had been driven from the eastern islet. In 2023 "
        "wardens counted 118 pairs.",
    ),
    (
        "The nature wardens",
        "Two wardens look after the reserve. They count the birds in June and the seals in September.",
    ),
    (
        "The peat bog",
        "The bog in the middle of the island is six metres deep. A birch canoe found there in 1936 is in the museum.",
    ),
    (
        "The museum",
        "The museum shows the birch canoe, a lamp lens and the figurehead of a wrecked ship. It is closed on Mondays.",
    ),
    (
        "The wreck of the Constance",
        "The barque Constance ran aground on the southern sandbank in 1867 with a cargo of oranges. All "
        "fourteen men were saved by a rope.",
    ),
    (
        "The wreck of the Dora",
        "The steamer Dora sank off the northern cape in 1912 after striking a rock. Her cargo was coal.",
    ),
    (
        "Lifeboat station",
        "The lifeboat station was founded after the wreck of the Constance. Its crew of nine are "
        "volunteers. The present boat makes 35 knots.",
    ),
    (
        "Fishing",
        "Cod is landed from January to April, herring in autumn. In 1960 there were 74 boats; today there are nine.",
    ),
    (
        "The smokehouse",
        "Herring is smoked over alder wood for five hours. The smokehouse sells from the door at noon.",
    ),
    (
        "The dairy",
        "The dairy makes a hard cheese washed in sea water. It takes milk from 160 cows on four farms. "
        "The cheese ripens for ten months.",
    ),
    (
        "Sheep",
        "The island's short-tailed sheep stay out all year and eat seaweed in winter. There are about 900 of them.",
    ),
    (
        "Drinking water",
        "Water comes from two wells in the dunes. In dry summers it is rationed to 90 litres a head and day.",
    ),
    (
        "The dunes",
        "Marram grass was planted on the dunes from 1880 on to hold the sand. Driving there is forbidden.",
    ),
    (
        "The bridge to the islet",
        "A footbridge of 120 metres leads to the eastern islet. It was opened in 1998 and is closed in strong wind.",
    ),
    (
        "The inn",
        "The inn by the west quay has eleven rooms. Fishermen used to pay for their beer in cod.",
    ),
    (
        "Midsummer",
        "On midsummer night a fire is lit on the western ridge and the oldest islander tells the story of the bell.",
    ),
    (
        "The brass band",
        "The brass band has 17 players and rehearses in the lifeboat station on Thursdays.",
    ),
    (
        "The island council",
        "The council has seven members and meets in the library. It was led by Marit Solem from 2003 to 2015.",
    ),
)


def island_corpus() -> Corpus:
    """Return the corpus."""
    return Corpus(Document(f"D{number:02}", title, text) for number, (title, text) in enumerate(_TEXTS, start=1))
