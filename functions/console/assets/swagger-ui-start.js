// Starts Swagger UI. It asks no service whether the document is valid (validatorUrl), reads no other document that a link names
// (queryConfigEnabled), and keeps no token after the page is closed (persistAuthorization).
SwaggerUIBundle({
    url: "/api/v1/openapi.json",
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    validatorUrl: null,
    queryConfigEnabled: false,
    persistAuthorization: false,
    deepLinking: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
});

// Its dark colours are chosen by a class. The switch for it would be in the top bar, which this page does not have.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
